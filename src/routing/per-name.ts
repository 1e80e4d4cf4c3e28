// What is made of a header's name, remembered by name as it is spelt: bounded, because others choose the names.

const MOST_KEPT = 1_000
const LONGEST_KEPT = 64

/** As `make`, but a name that came before is not looked at anew; where `make` throws, nothing is kept. */
export function perName<T extends {}>(make: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>()
  return (name) => {
    const kept = known.get(name)
    if (kept !== undefined) return kept
    // A copy: a part of a head would keep all of it in memory. What is no Latin-1 is judged as it is.
    const copy = Buffer.from(name, 'latin1').toString('latin1')
    const own = copy === name ? copy : name
    const made = make(own)
    if (own.length <= LONGEST_KEPT) {
      if (known.size >= MOST_KEPT) known.clear()
      known.set(own, made)
    }
    return made
  }
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-zA-Z-]+$/

/** Whether it is a token, as names of headers and methods are (RFC 9110 section 5.6.2). */
export const isToken = perName((name) => TOKEN.test(name))
