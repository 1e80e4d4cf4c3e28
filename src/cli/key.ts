// The command `key`: makes a caller's key and prints the lines for the configuration.
import { randomBytes } from 'node:crypto'
import { usageError } from './exit.ts'

const KEY_BYTES = 32

export async function key(name: string): Promise<void> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw usageError(`${JSON.stringify(name)} is not a name: use lower-case letters, digits and -`)
  }
  process.stdout.write(callerLines(name, randomBytes(KEY_BYTES).toString('base64url')))
}

/** The lines as YAML. The prefix makes a key that leaked easy to recognise. */
function callerLines(name: string, random: string): string {
  return `# The caller sends this key as "Procore-Proxy-Key: KEY", as "Authorization: Bearer KEY",
# or as the password of "Authorization: Basic". It is shown this once and stored nowhere.
callers:
  ${name}:
    key: ppk_${random}   # or { file: PATH } or { env: NAME }, to keep it out of this file
    access: read-only
    # companies: [acme]   # all, if left out
`
}
