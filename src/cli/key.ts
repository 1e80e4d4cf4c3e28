// The command `key`: makes a caller's key and prints the lines for the configuration.
import { keyInstructions, newKey } from '../callers/key.ts'
import { usageError } from './exit.ts'

export async function key(name: string): Promise<void> {
  let text: string
  try {
    text = keyInstructions(name, newKey())
  } catch (error) {
    throw usageError((error as Error).message)
  }
  process.stdout.write(text)
}
