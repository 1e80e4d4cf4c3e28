// The command `usage`: adds an audit file up and prints the sums.
import { usageError } from './exit.ts'
import type { Options } from './options.ts'

const COLUMNS = ['caller', 'route', 'status', 'day']

export async function usage(file: string, options: Options): Promise<void> {
  const by = (options.by ?? '').split(',').map((column) => column.trim())
  for (const column of by) {
    if (!COLUMNS.includes(column)) throw usageError(`--by ${options.by}: use some of ${COLUMNS.join(', ')}`)
  }
  throw usageError(`${file}: not there yet`)
}
