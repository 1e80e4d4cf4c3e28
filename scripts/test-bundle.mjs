// Runs the tests of the command line with the bundle instead of the sources, or with --sea the single executable.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const sea = process.argv[2] === '--sea'
const main = `${ROOT}dist/${sea ? 'sea/procore-proxy' : 'bin/procore-proxy.cjs'}`
const run = (command, ...args) => {
  const { status } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, TEST_PROXY_MAIN: main },
  })
  if (status !== 0) process.exit(status ?? 1)
}

run(process.execPath, 'scripts/build.ts')
if (sea) run(process.execPath, 'scripts/sea.ts')
const args = process.argv.slice(sea ? 3 : 2)
run('tap', 'run', '--disable-coverage', '--reporter=base', ...args, 'test/cli')
