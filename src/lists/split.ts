// Finds the elements of a JSON array without parsing them, so that a page is never completely in memory as objects.

const [SPACE, QUOTE, COMMA, COLON, BACKSLASH] = [0x20, 0x22, 0x2c, 0x3a, 0x5c]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/**
 * The positions of the elements of the array that starts at `start`: begin, end, begin, end, … Undefined if there is
 * no complete array. The content of the elements is not checked.
 */
export function splitArray(json: Buffer, start = 0): readonly number[] | undefined {
  const places: number[] = []
  let at = skipSpace(json, start)
  if (json[at] !== OPEN_ARRAY) return undefined
  at = skipSpace(json, at + 1)
  if (json[at] === CLOSE_ARRAY) return places
  for (;;) {
    const end = endOfValue(json, at)
    if (end <= at) return undefined
    places.push(at, end)
    at = skipSpace(json, end)
    if (json[at] === CLOSE_ARRAY) return places
    if (json[at] !== COMMA) return undefined
    at = skipSpace(json, at + 1)
  }
}

/** Where the value of a member of the object begins; undefined if the JSON is no object or has no such member. */
export function findMember(json: Buffer, name: string): number | undefined {
  let at = skipSpace(json, 0)
  for (let next = OPEN_OBJECT; json[at] === next; next = COMMA) {
    at = skipSpace(json, at + 1)
    const end = json[at] === QUOTE ? endOfString(json, at) : -1
    if (end === -1) return undefined
    const isFound = json.toString('utf8', at + 1, end) === name
    at = skipSpace(json, end + 1)
    if (json[at] !== COLON) return undefined
    at = skipSpace(json, at + 1)
    if (isFound) return at
    at = skipSpace(json, Math.max(at, endOfValue(json, at)))
  }
  return undefined
}

/** The place after the value that begins at `start`; -1 if it has no end. */
function endOfValue(json: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; at += 1) {
    const byte = json[at] as number
    if (byte === QUOTE) {
      at = endOfString(json, at)
      if (at === -1) return -1
      if (depth === 0) return at + 1
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      // A number or a word ends where the array around it does.
      if (depth === 0) return at
      depth -= 1
      if (depth === 0) return at + 1
    } else if (depth === 0 && (byte === COMMA || byte <= SPACE)) {
      return at
    }
  }
  return -1
}

/** The place of the quote that ends the string; -1 if there is none. */
function endOfString(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start + 1); end !== -1; end = json.indexOf(QUOTE, end + 1)) {
    let slashes = 0
    while (json[end - 1 - slashes] === BACKSLASH) slashes += 1
    if (slashes % 2 === 0) return end
  }
  return -1
}

function skipSpace(json: Buffer, start: number): number {
  let at = start
  while ((json[at] as number) <= SPACE) at += 1
  return at
}
