// Runs a command with a Node.js new enough for this project and with its packages installed; needs nothing but Node and npm.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const windows = process.platform === 'win32'
const [wantedMajor, wantedMinor = 0] = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  .engines.node.replace(/^>=/, '')
  .split('.')
  .map(Number)

/** True where the Node that runs this file satisfies package.json's `engines.node`. */
function newEnough() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

function npm(args, cwd, path) {
  // Output goes to stderr, so that what the wanted command prints is all there is on stdout.
  const run = spawnSync('npm', args, {
    cwd,
    stdio: ['ignore', 2, 2],
    shell: windows,
    env: { ...process.env, PATH: path, npm_config_loglevel: 'error' },
  })
  if (run.status !== 0) {
    console.error(`\nscripts/node.mjs: npm ${args.join(' ')} failed in ${cwd}`)
    process.exit(run.status ?? 1)
  }
}

/** A lockfile is newer than what it installed: npm writes node_modules/.package-lock.json last. */
function stale(folder) {
  const installed = join(folder, 'node_modules', '.package-lock.json')
  return (
    !existsSync(installed) ||
    statSync(installed).mtimeMs < statSync(join(folder, 'package-lock.json')).mtimeMs
  )
}

let path = process.env.PATH ?? ''
if (!newEnough()) {
  const tool = join(root, 'tools', 'node')
  const bin = join(tool, 'node_modules', `node-${windows ? 'win' : process.platform}-${process.arch}`, 'bin')
  if (stale(tool)) {
    console.error(
      `Node ${process.versions.node} is older than this project wants: installing Node 24 into tools/node…`,
    )
    npm(['ci', '--no-audit', '--no-fund'], tool, path)
  }
  if (!existsSync(bin)) {
    console.error(
      `No Node ${wantedMajor}.${wantedMinor} or newer here, and npm carries none for ${process.platform}-${process.arch}: install one from https://nodejs.org and try again.`,
    )
    process.exit(1)
  }
  path = bin + delimiter + path
}
if (stale(root)) {
  console.error('Installing packages…')
  npm(['ci', '--no-audit', '--no-fund', '--ignore-scripts'], root, path)
}

const [command, ...args] = process.argv.slice(2)
if (!command) {
  console.error('usage: node scripts/node.mjs COMMAND [ARGUMENT…]')
  process.exit(2)
}
const child = spawn(command, args, {
  stdio: 'inherit',
  shell: windows,
  env: { ...process.env, PATH: join(root, 'node_modules', '.bin') + delimiter + path },
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  console.error(`scripts/node.mjs: ${error.message}`)
  process.exit(127)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)))
