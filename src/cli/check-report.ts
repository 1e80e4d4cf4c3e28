// Formats the report of `check`: a table, and below it what to do about each failure.
import { styleText } from 'node:util'
import type { Config } from '../config/config.ts'
import type { Finding } from './check.ts'
import { renderTable } from './table.ts'

/** The report. `offline` means that nothing was tried. */
export function reportChecks(
  { file, network, warnings }: Pick<Config, 'file' | 'network' | 'warnings'>,
  findings: readonly Finding[],
  offline: boolean,
): string {
  const head = [
    `configuration: ${file ?? 'variables and flags'}\n`,
    network.proxy === undefined ? '' : `outbound proxy: ${network.proxy.origin}\n`,
    ...warnings.map((warning) => `${styleText('yellow', 'warning')}: ${warning}\n`),
  ].join('')
  if (offline) return `${head}The configuration is valid. Procore was not called (--offline).\n`
  const rows = findings.map(({ ok, kind, name, id = '', environment, detail }) => [
    ok ? styleText('green', 'ok') : styleText('red', 'FAIL'),
    ...[kind, name, id, environment, detail],
  ])
  const table = renderTable(['', 'kind', 'name', 'id', 'environment', 'result'], rows)
  const failures = findings.filter(({ ok }) => !ok)
  return head + table + failures.map(whatToDo).join('')
}

function whatToDo({ kind, name, fixes }: Finding): string {
  return `\n${kind} ${name}, what to do:\n${fixes.map((fix) => `  - ${fix}\n`).join('')}`
}
