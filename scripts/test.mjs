// Runs tap and ends with the line that CI reads: "N passed, N failed". A crash, a hang or low coverage is a failure too.
import { spawn } from 'node:child_process'

const child = spawn('tap', ['run', ...process.argv.slice(2)], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, TAP_REPORTER: process.env.TAP_REPORTER ?? 'terse' },
})
let tail = ''
child.stdout.on('data', (chunk) => {
  process.stdout.write(chunk)
  tail = (tail + chunk).slice(-20_000)
})
child.on('error', (error) => console.error(error.message))
child.on('close', (code, signal) => {
  const plain = tail.replaceAll(/\u001b\[[0-9;]*m/g, '')
  const totals = [...plain.matchAll(/# \{ total: (\d+)(?:, pass: (\d+))?(?:, fail: (\d+))?/g)].at(-1)
  const passed = Number(totals?.[2] ?? 0)
  const failed = Number(totals?.[3] ?? 0)
  const broken = code !== 0 || signal !== null || passed === 0
  console.log(`${passed} passed, ${broken && failed === 0 ? 1 : failed} failed`)
  process.exitCode = broken ? code || 1 : 0
})
