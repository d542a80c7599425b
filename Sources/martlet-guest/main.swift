import CGuestBoot
import GuestAgent

GuestMain.run(procError: guest_boot_proc_error(), arguments: CommandLine.arguments)
