// Reads headers from Node's raw list, in which none is joined or dropped and all are in the order sent.

/** `[name, value, name, value, …]`, as in `IncomingMessage.rawHeaders`. */
export type RawHeaders = readonly string[]

const NONE: readonly string[] = []

/** Every value of the header `name` (lower case), including empty ones, because the guards look for duplicates. */
export function headerValues(rawHeaders: RawHeaders, name: string): readonly string[] {
  let values: string[] | undefined
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const field = rawHeaders[at]!
    if (field.length !== name.length || field.toLowerCase() !== name) continue
    values ??= []
    values.push(rawHeaders[at + 1]!)
  }
  return values ?? NONE
}
