// The command line: parses the arguments, runs the command, and turns errors into a message and an exit status.
import { CommanderError } from 'commander'
import { CommandError, EXIT } from './exit.ts'
import { watchOutput } from './output.ts'
import { buildProgram, withDefaultCommand } from './program.ts'

watchOutput()
// No await here: the bundle is CommonJS.
buildProgram()
  .parseAsync(withDefaultCommand(process.argv.slice(2)), { from: 'user' })
  .catch((error: Error) => {
    process.exitCode = exitStatus(error)
    // commander has already printed its message, or the help.
    if (error instanceof CommanderError) return
    const isExpected = error instanceof CommandError
    process.stderr.write(`procore-proxy: ${isExpected ? error.message : (error.stack ?? error)}\n`)
  })

function exitStatus(error: Error): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badConfig
  return error instanceof CommandError ? error.status : EXIT.failure
}
