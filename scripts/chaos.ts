// Two minutes of everything that can go wrong, with a ledger on both sides: `npm run chaos` (CHAOS_SECONDS, CHAOS_SEED).
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chaos } from '../test/fixtures/chaos.ts'

const seconds = Number(process.env['CHAOS_SECONDS'] ?? 120)
const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-chaos-'))
console.log(`${seconds} s of chaos, CHAOS_SEED=${seed}`)
try {
  const { violations, figures, answers, faults } = await chaos({ seconds, seed, folder })
  for (const [title, table] of Object.entries({ figures, 'what callers got': answers, faults })) {
    console.log(`\n${title}`)
    for (const [name, count] of Object.entries(table))
      console.log(`  ${name.padEnd(34)}${String(count).padStart(9)}`)
  }
  console.log(`\n${violations.length} violations${violations.length === 50 ? ' or more' : ''}`)
  for (const violation of violations) console.log(`  ${violation}`)
  process.exitCode = violations.length === 0 ? 0 : 1
} finally {
  rmSync(folder, { recursive: true })
}
