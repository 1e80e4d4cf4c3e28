// Reads headers from the list that Node took off the wire: nothing joined, nothing dropped, in the order sent.

/** `[name, value, name, value, …]`, as in `IncomingMessage.rawHeaders`. */
export type RawHeaders = readonly string[]

const NONE: readonly string[] = []

/** Every value of the header `name` (lower case), empty ones too; duplicates are what guards look for. */
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
