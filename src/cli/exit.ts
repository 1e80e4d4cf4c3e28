// Exit statuses, by name.

/** CONTRACT section 3: 0 after a drain or when all is good, 2 for a bad configuration, 1 for anything else. */
export const EXIT = { ok: 0, failure: 1, badConfig: 2 } as const

/** Ends a command with a message for people on stderr and a status. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly status: number

  constructor(message: string, status: number = EXIT.failure) {
    super(message)
    this.status = status
  }
}
