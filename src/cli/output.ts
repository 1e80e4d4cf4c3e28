// Handles standard output that can no longer be written because its reader has gone or the disk is full.
import { EXIT } from './exit.ts'

let goesOn = false

/**
 * Ends a command whose output cannot be written. If the reader has gone (`| head`), the command has not failed and
 * keeps its exit status. Anything else, such as a full disk, is a failure.
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
  // There is nowhere left to report this.
  process.stderr.on('error', () => {})
}

/** For a command that serves requests, which continues when its log can no longer be written. */
export function goOnWithoutOutput(): void {
  goesOn = true
}
