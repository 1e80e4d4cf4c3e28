// Runs a command with a Node.js that is new enough and with the packages installed. Needs only npm and Node 14 or later.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { isatty } from 'node:tty'
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
  // npm writes to stderr here, so that stdout holds only what the command prints.
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

/**
 * True where the lockfile is newer than what npm installed; npm writes node_modules/.package-lock.json last. A link leads to
 * the packages of another checkout, which npm would remove.
 */
function stale(folder) {
  const installed = join(folder, 'node_modules', '.package-lock.json')
  if (lstatSync(dirname(installed), { throwIfNoEntry: false })?.isSymbolicLink()) return false
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
      `Node ${process.versions.node} is too old for this project: installing Node ${wantedMajor} into tools/node…`,
    )
    npm(['ci', '--no-audit', '--no-fund'], tool, path)
  }
  if (!existsSync(bin)) {
    console.error(
      `This project needs Node ${wantedMajor} or later, and npm has no package of it for ${process.platform}-${process.arch}: install it from https://nodejs.org and try again.`,
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
// A terminal sends Ctrl+C to every process of its foreground group, so the command must stay in that group and gets the signal
// by itself. Elsewhere the command has a group of its own, so that a signal to a whole group does not reach it twice.
const onTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))
const child = spawn(command, args, {
  stdio: 'inherit',
  shell: windows,
  detached: !onTerminal && !windows,
  env: { ...process.env, PATH: join(root, 'node_modules', '.bin') + delimiter + path },
})
let stopping = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (!(onTerminal && signal === 'SIGINT')) child.kill(signal)
    stopping ||= signal !== 'SIGHUP'
  })
}
// npm passes SIGTERM to its shell, which ends without passing it on: a missing parent is the only sign of it.
const parent = process.ppid
if (process.env.npm_lifecycle_event !== undefined && !windows) {
  setInterval(() => {
    if (stopping || process.ppid === parent) return
    stopping = true
    child.kill('SIGTERM')
  }, 200).unref()
}
child.on('error', (error) => {
  console.error(`scripts/node.mjs: ${error.message}`)
  process.exit(127)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 1)))
