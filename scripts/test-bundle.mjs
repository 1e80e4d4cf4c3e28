// The tests of the command line, with the bundle in place of the sources.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const run = (command, ...args) => {
  const { status } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, TEST_PROXY_MAIN: `${ROOT}dist/bin/procore-proxy.cjs` },
  })
  if (status !== 0) process.exit(status ?? 1)
}

run(process.execPath, 'scripts/build.ts')
run('tap', 'run', '--disable-coverage', '--reporter=terse', ...process.argv.slice(2), 'test/cli')
