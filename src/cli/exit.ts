// The exit statuses by name, and the error that ends a command with one of them.

/** 0: all is good. 2: the configuration or the command line is wrong. 1: anything else. */
export const EXIT = { ok: 0, failure: 1, badConfig: 2 } as const

/** Ends a command with a message on standard error and an exit status. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly status: number

  constructor(message: string, status: number = EXIT.failure) {
    super(message)
    this.status = status
  }
}

/** A mistake on the command line or in the configuration. */
export function usageError(message: string): CommandError {
  return new CommandError(message, EXIT.badConfig)
}
