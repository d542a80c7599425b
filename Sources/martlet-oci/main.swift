import OCIRuntime

await OCIProgram.main()
