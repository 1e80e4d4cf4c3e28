// Formats the report of `explain`: one labeled line for each fact.
import { styleText } from 'node:util'
import type { Explanation } from './explain.ts'

const LABEL_WIDTH = 10

/** The lines; a repeated label is printed once. */
export function reportExplanation(explanation: Explanation): string {
  const { verdict, answer, refusal, company, caller, access, upstream, headers, cache, notes } = explanation
  const rows: [string, string][] = []
  if (refusal) {
    rows.push(['refused', `${refusal.status} ${refusal.code}: ${refusal.detail}`], ['do', refusal.help])
  } else rows.push([verdict, answer ?? 'to Procore'])
  if (company)
    rows.push(['company', `${company.name} (id ${company.id}, ${company.environment}), by ${company.why}`])
  if (caller) rows.push(['caller', caller])
  if (access) rows.push(['access', `${access.allowed ? 'allowed' : 'denied'}: ${access.why}`])
  if (upstream) rows.push(['upstream', upstream])
  for (const { name, value } of headers?.added ?? []) rows.push(['added', `${name}: ${value}`])
  for (const name of headers?.removed ?? []) rows.push(['removed', name])
  if (cache) rows.push(['cache', cache])
  for (const note of notes) rows.push(['note', note])
  return rows
    .map(([label, text], index) => {
      const shown = label === rows[index - 1]?.[0] ? '' : label
      return `${coloured(shown)}${' '.repeat(LABEL_WIDTH - shown.length)}${text}\n`
    })
    .join('')
}

function coloured(label: string): string {
  if (label === '') return ''
  return styleText(label === 'refused' ? 'red' : label === 'forwarded' ? 'green' : 'bold', label)
}
