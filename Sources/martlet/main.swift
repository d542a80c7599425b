import MartletCommands

await CommandLineProgram.main()
