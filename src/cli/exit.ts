// How a command ends: the exit statuses, the error that carries one, and output that can no longer be written.
/** 0: all is good. 2: the configuration or the command line is wrong. 1: anything else. */
export const EXIT = { ok: 0, failure: 1, badConfig: 2 } as const

/** Ends a command with a message on standard error and an exit status. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly status: number

  constructor(message: string, status: number = EXIT.failure, options: ErrorOptions = {}) {
    super(message, options)
    this.status = status
  }
}

/** A mistake on the command line or in the configuration. */
export function usageError(message: string, options?: ErrorOptions): CommandError {
  return new CommandError(message, EXIT.badConfig, options)
}

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
