// Runs tap and ends with the line that CI reads: "N passed, N failed". A crash, a hang or low coverage is a failure too.
// tap can require full coverage or none. What is not covered are branches that only another platform or a race reaches.
import { spawn } from 'node:child_process'
import { strip } from './stripped.mjs'

/** The lowest accepted coverage of all files together, in percent. */
const LEAST = { statements: 99.5, branches: 98, functions: 99, lines: 99.5 }

/** Returns a line for each kind of coverage that is too low. Only for runs of all tests. */
function tooThin(output) {
  const [, ...found] =
    /^All files\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|\s*([\d.]+)/m.exec(output) ?? []
  return Object.entries(LEAST).flatMap(([kind, least], index) =>
    Number(found[index] ?? 0) >= least
      ? []
      : [`coverage of ${kind}: ${found[index] ?? 'none'} %, wanted ${least} %`],
  )
}

strip()
const child = spawn('tap', ['run', ...process.argv.slice(2)], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: {
    ...process.env,
    // Names each file at its end, unlike `terse`, which may say nothing at all once a test has timed out.
    TAP_REPORTER: process.env.TAP_REPORTER ?? 'base',
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --import=${new URL('stripped.mjs', import.meta.url)}`,
  },
})
let tail = ''
child.stdout.on('data', (chunk) => {
  process.stdout.write(chunk)
  tail = (tail + chunk).slice(-200_000)
})
child.on('error', (error) => console.error(error.message))
child.on('close', (code, signal) => {
  const plain = tail.replaceAll(/\u001b\[[0-9;]*m/g, '')
  const totals = [...plain.matchAll(/# \{ total: (\d+)(?:, pass: (\d+))?(?:, fail: (\d+))?/g)].at(-1)
  const passed = Number(totals?.[2] ?? 0)
  const failed = Number(totals?.[3] ?? 0)
  const thin = process.argv.length > 2 ? [] : tooThin(plain)
  for (const line of thin) console.log(line)
  if (totals === undefined)
    console.log('tap counted nothing, as after a test that takes too long: see FAIL above')
  const broken = code !== 0 || signal !== null || passed === 0 || thin.length > 0
  console.log(`${passed} passed, ${broken && failed === 0 ? 1 : failed} failed`)
  process.exitCode = broken ? code || 1 : 0
})
