// The benchmark's command line: `npm run bench -- --help`.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Bench, choose, measureStart, measureThroughput } from './compare.ts'
import { measureExpiry } from './expiry.ts'
import { judge } from './goals.ts'
import { FIXED_RATE } from './latency.ts'
import { allowedCores, machine, root, shareCores, versionOf } from './machine.ts'
import { OptionError, type Options, readOptions, USAGE } from './options.ts'
import type { Compared } from './result.ts'
import { figuresTables, goalsTable, ratioTables } from './tables.ts'
import { measureTransfers } from './transfer.ts'
import { startUpstream } from './upstream.ts'

/** Of large bodies. */
const LARGE_MB = 512

const here = import.meta.dirname
const words = process.argv.slice(2)

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Packages of the contenders, once; and the program as it is shipped. */
function prepare(): void {
  const installed = join(here, 'node_modules', '.package-lock.json')
  const lock = join(here, 'package-lock.json')
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    say('Installing the contenders of Node…')
    execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: here,
      stdio: [0, 2, 2],
    })
  }
  say('Building dist…')
  execFileSync('npm', ['run', '--silent', 'build:all'], { cwd: root, stdio: [0, 2, 2] })
}

function versions(): Record<string, string> {
  const packageVersion = (folder: string) =>
    (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version
  const bench = (name: string) => packageVersion(join(here, 'node_modules', name))
  const git = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' })
  const found: Record<string, string | undefined> = {
    'procore-proxy': `${packageVersion(root)}${git.status === 0 ? ` (${git.stdout.trim()})` : ''}`,
    node: process.versions.node,
    nginx: versionOf('nginx', '-v'),
    haproxy: versionOf('haproxy', '-v'),
    caddy: versionOf('caddy', 'version'),
    wrk: versionOf('wrk', '-v'),
    '@fastify/http-proxy': bench('@fastify/http-proxy'),
    fastify: bench('fastify'),
    'http-proxy-middleware': bench('http-proxy-middleware'),
  }
  return Object.fromEntries(
    Object.entries(found).flatMap(([name, version]) => (version === undefined ? [] : [[name, version]])),
  )
}

async function compare(options: Options): Promise<Compared> {
  const began = performance.now()
  const { contenders, skipped } = choose(options.only)
  for (const [id, why] of Object.entries(skipped)) say(`skipped: ${id} (${why})`)
  const cores = shareCores(allowedCores())
  say(cores.says)
  const result: Compared = {
    date: new Date().toISOString(),
    command: ['npm run bench --', ...words].join(' '),
    machine: machine(),
    versions: versions(),
    cores: cores.says,
    seconds: options.seconds,
    rounds: options.rounds,
    skipped,
    fixedRate: FIXED_RATE,
    largeMb: LARGE_MB,
    contenders: Object.fromEntries(contenders.map(({ id, title }) => [id, { title }])),
  }
  const upstream = await startUpstream(cores, LARGE_MB * 2 ** 20)
  const direct: Bench['direct'] = {}
  result.direct = direct
  const bench: Bench = { options, cores, upstream, contenders, results: result.contenders, direct, say }
  try {
    await measureStart(bench, options.quick ? 2 : 5)
    await measureThroughput(bench)
    await measureTransfers(bench)
    if (contenders.some(({ id }) => id === 'procore-proxy')) result.expiry = await measureExpiry(bench)
  } finally {
    await upstream.stop()
  }
  say(`took ${((performance.now() - began) / 1000).toFixed(0)} s`)
  return result
}

function keep(file: string, result: unknown): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`)
  say(`wrote ${file}`)
}

async function main(options: Options): Promise<void> {
  prepare()
  const result = await compare(options)
  if (options.json !== undefined) keep(options.json, result)
  console.log(
    [
      '## As ratios to tuned nginx: median (least–most of the rounds)',
      ...ratioTables(result),
      '## In figures',
      ...figuresTables(result),
      '## Goals',
      goalsTable(judge(result)),
    ].join('\n\n'),
  )
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
