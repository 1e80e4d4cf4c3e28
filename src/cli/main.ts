// The command line: parses the arguments, runs the command, and turns errors into a message and an exit status.
import { CommanderError } from 'commander'
import { printableLines } from '../observe/mask.ts'
import { CommandError, EXIT, watchOutput } from './exit.ts'
import { buildProgram, withDefaultCommand } from './program.ts'

watchOutput()
// Without a listener, Node would open its debugger, which lets every user of this machine read tokens and secrets.
process.on('SIGUSR1', () => {})
// No await here: the bundle is CommonJS.
buildProgram()
  .parseAsync(withDefaultCommand(process.argv.slice(2)), { from: 'user' })
  .catch((error: NodeJS.ErrnoException) => {
    // commander has already printed its message, or the help.
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.badConfig
      return
    }
    const isExpected = error instanceof CommandError
    process.exitCode = isExpected ? error.status : EXIT.failure
    const unexpected =
      error.syscall === 'uv_cwd' ? 'the current folder was removed. Change to another one' : error.stack
    const text = String(isExpected ? error.message : (unexpected ?? error))
    // It may repeat what Procore or a file says.
    process.stderr.write(`procore-proxy: ${printableLines(text)}\n`)
  })
