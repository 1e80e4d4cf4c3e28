// The command `key`: makes a caller's key and prints it with the lines for the configuration.
import { randomBytes } from 'node:crypto'
import { usageError } from './exit.ts'

export async function key(name: string): Promise<void> {
  process.stdout.write(keyInstructions(name, newKey()))
}

/** A new key: 192 random bits, in characters that need no quotes in a header, a shell or YAML. */
export function newKey(): string {
  for (;;) {
    const key = randomBytes(24).toString('base64url')
    // A key that begins with a dash would be taken for a flag.
    if (!key.startsWith('-')) return key
  }
}

/** What is printed. Throws CommandError for a name that can't be a caller's. */
export function keyInstructions(name: string, key: string): string {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) {
    throw usageError('Write a name of lower-case letters, digits and dashes, such as excel.')
  }
  // No variable begins with a digit.
  const variable = `${name.toUpperCase().replaceAll('-', '_')}_KEY`.replace(/^(?=\d)/, 'CALLER_')
  return `The key of ${name}, which is shown only once:

  ${key}

Store it in a file with mode 600 or in the variable ${variable}, and add this to the configuration:

callers:
  ${name}:
    key: { env: ${variable} }
    access: read-only   # or read-write
    # companies: [acme]
    # projects: ["316469"]

${name} sends it as "Procore-Proxy-Key: KEY", as "Authorization: Bearer KEY", or as the password of Basic authentication.
`
}
