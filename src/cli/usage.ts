// The command `usage`: adds up an audit file and prints the totals.
import { addUpUsage, formatUsage, type UsageColumn, usageColumns } from '../callers/usage.ts'
import { CommandError, usageError } from './exit.ts'
import type { Options } from './options.ts'

export async function usage(file: string, { by = '', csv }: Options): Promise<void> {
  const sums = await addUpUsage(file, columns(by)).catch(({ message }: Error) => {
    throw new CommandError(`${file} cannot be read: ${message}`)
  })
  process.stdout.write(formatUsage(sums, csv ? 'csv' : 'table'))
  const { skippedLines } = sums
  if (skippedLines === 0) return
  const lines =
    skippedLines === 1 ? '1 line is damaged and was' : `${skippedLines} lines are damaged and were`
  process.stderr.write(`procore-proxy: ${lines} left out\n`)
}

function columns(by: string): readonly UsageColumn[] {
  try {
    return usageColumns(by)
  } catch (error) {
    throw usageError(`--by ${by}: ${(error as Error).message}`)
  }
}
