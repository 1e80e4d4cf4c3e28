// What happens when standard output can no longer be written: its reader has gone, or the disk is full.
import { EXIT } from './exit.ts'

let goesOn = false

/**
 * Ends a command whose output cannot be written. Where the reader has gone (`| head`) that is no failure of the command, so
 * the exit status stays what it is; a full disk or the like is a failure.
 */
export function watchOutput(): void {
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (goesOn) return
    if (code !== 'EPIPE') {
      process.stderr.write(`procore-proxy: the output could not be written: ${message}\n`)
      process.exitCode = EXIT.failure
    }
    process.exit()
  })
  // There is no place left to report it.
  process.stderr.on('error', () => {})
}

/** For a command that serves requests: it goes on serving when its log can no longer be written. */
export function goOnWithoutOutput(): void {
  goesOn = true
}
