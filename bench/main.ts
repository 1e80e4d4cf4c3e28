// The benchmark's command line: `npm run bench -- --help`.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Stage } from './bench.ts'
import { compare } from './compare.ts'
import { shareCores } from './cores.ts'
import { growth } from './growth.ts'
import { http2 } from './http2.ts'
import { allowedCores, machine, pinSelf, root, versions } from './machine.ts'
import { lengthOf, MEASURES, type Measure, OptionError, type Options, readOptions, USAGE } from './options.ts'
import { processes } from './processes.ts'
import { drawings, intoPage, type Results, report } from './report.ts'
import type { Head } from './result.ts'
import { soak } from './soak.ts'
import { startUpstream } from './upstream.ts'

/** Of large bodies. */
const LARGE_MB = 512

const here = import.meta.dirname
/** Before this process is pinned to one. */
const allCores = allowedCores()
const words = process.argv.slice(2)
const page = join(root, 'docs', 'performance.md')

const RUNS: Record<Measure, (stage: Stage, head: Head) => Promise<Head>> = {
  compare,
  growth,
  soak,
  http2,
  processes,
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Packages of the contenders, once; and the program as it is shipped. */
function prepare(): void {
  const installed = join(here, 'node_modules', '.package-lock.json')
  const lock = join(here, 'package-lock.json')
  const npm = (...args: string[]) => execFileSync('npm', args, { cwd: here, stdio: ['ignore', 2, 2] })
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    say('Installing the contenders of Node…')
    npm('ci', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error')
  }
  say('Building dist…')
  npm('run', '--silent', '--prefix', root, 'build')
}

async function measure(command: Measure, options: Options): Promise<Head> {
  const began = performance.now()
  const seconds = lengthOf(command, options)
  const cores = shareCores(allCores)
  say(`${command}: ${cores.says}`)
  // The reader of logs and the login server of this process must not take the contender's time.
  pinSelf(cores.load)
  const head: Head = {
    date: new Date().toISOString(),
    command: ['npm run bench --', ...words].join(' '),
    machine: machine(),
    versions: versions(),
    cores: cores.says,
  }
  const upstream = await startUpstream(cores, LARGE_MB * 2 ** 20)
  try {
    return await RUNS[command]({ options: { ...options, seconds }, cores, upstream, say }, head)
  } finally {
    await upstream.stop()
    say(`${command} took ${((performance.now() - began) / 1000).toFixed(0)} s`)
  }
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  say(`wrote ${file}`)
}

function resultFile(command: Measure): string {
  return join(here, 'results', `${command}.json`)
}

/** What was measured last, of each command that ever was. */
function kept(): Results {
  const found = MEASURES.filter((command) => existsSync(resultFile(command)))
  return Object.fromEntries(
    found.map((command) => [command, JSON.parse(readFileSync(resultFile(command), 'utf8'))]),
  )
}

async function main(options: Options): Promise<void> {
  const commands = MEASURES.filter((each) => options.command === 'all' || options.command === each)
  if (commands.length > 0) prepare()
  const whole = options.only === undefined && (!options.quick || options.writeDocs)
  for (const command of commands) {
    const result = await measure(command, options)
    const file = options.json ?? (whole ? resultFile(command) : undefined)
    if (file !== undefined) write(file, `${JSON.stringify(result, null, 1)}\n`)
    console.log(report({ [command]: result }))
  }
  const docs = options.writeDocs || options.command === 'docs'
  if (docs || options.plots) {
    for (const [name, svg] of Object.entries(drawings(kept()))) {
      write(join(root, 'docs', 'performance', name), svg)
    }
  }
  if (docs) write(page, intoPage(readFileSync(page, 'utf8'), kept()))
}

try {
  const options = readOptions(words)
  if (options.help) console.log(USAGE)
  else await main(options)
  process.exit(0)
} catch (error) {
  const known = error instanceof OptionError
  console.error(known ? `${error.message}\n\n${USAGE}` : error)
  process.exit(known ? 2 : 1)
}
