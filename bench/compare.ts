// `compare`: procore-proxy with every feature switched on, beside other proxies, as ratios of one run.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CONTENDERS, type Contender, launchProgram } from './contenders.ts'
import { median, ratio, shown, table } from './figures.ts'
import { ROOT } from './programs.ts'
import { type Running, type Stage, say } from './stage.ts'

/** What the figures of a contender are held against. */
const BASE = 'fastify-http-proxy'
const OWN = 'procore-proxy'
const LARGE_BYTES = 512 * 2 ** 20

/** The kinds of figure, with what each is called in the table. */
const KINDS = {
  startMs: 'start to first proxied answer, ms',
  idleMb: 'idle memory, MB',
  plainUs: 'CPU a request, plain, µs',
  tlsUs: 'CPU a request, TLS, µs',
  addedUs: 'added p50 at one connection, µs',
  downMbs: '512 MB down, MB/s',
  upMbs: '512 MB up, MB/s',
  grownMb: 'memory grown by these, MB',
} as const
type Kind = keyof typeof KINDS
/** One value a round for each contender. */
type Figures = Record<Kind, Record<string, number[]>>

export async function compare(stage: Stage): Promise<string> {
  const contenders = CONTENDERS.filter(({ isHere }) => isHere)
  for (const { title, isHere } of CONTENDERS) if (!isHere) say(`${title} is not installed: skipped`)
  const figures = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, {}])) as Figures
  const rounds = stage.quick ? 2 : 5
  await measureStart(stage, contenders, figures, stage.quick ? 2 : 7)
  await measureRequests(stage, { contenders, figures, rounds, scheme: 'plain' })
  await measureRequests(stage, { contenders, figures, rounds, scheme: 'tls' })
  const moved = contenders.filter(({ title }) => title === BASE || title === OWN)
  await measureTransfers(stage, moved, figures, stage.quick ? 1 : 3)
  const [seen, lines] = [await callsSeen(stage), codeLines()]
  return [figuresTable(contenders, figures), '', seen, ...lines].join('\n')
}

function add(figures: Figures, kind: Kind, { title }: Contender, value: number): void {
  figures[kind][title] ??= []
  figures[kind][title].push(value)
  say(`${title}: ${KINDS[kind]}: ${shown(value)}`)
}

async function measureStart(stage: Stage, all: readonly Contender[], figures: Figures, rounds: number) {
  for (let round = 0; round < rounds; round++)
    for (const contender of all) {
      const { program, startMs } = await stage.launch(contender.launch, stage.plain)
      add(figures, 'startMs', contender, startMs)
      await program.stop('SIGKILL')
    }
}

interface RequestOptions {
  readonly contenders: readonly Contender[]
  readonly figures: Figures
  readonly rounds: number
  readonly scheme: 'plain' | 'tls'
}

/** All contenders run at the same time and take turns; those that wait for theirs take no CPU. */
async function measureRequests(stage: Stage, { contenders, figures, rounds, scheme }: RequestOptions) {
  const all: [Contender, Running][] = []
  for (const contender of contenders)
    all.push([contender, await stage.launch(contender.launch, stage[scheme])])
  if (scheme === 'plain') {
    await sleep(stage.quick ? 2_000 : 20_000)
    for (const [contender, { program }] of all) add(figures, 'idleMb', contender, program.memoryMb('VmRSS'))
  }
  for (const [, running] of all) await stage.load(running, { seconds: stage.quick ? 2 : 8 })
  for (let round = 0; round < rounds; round++)
    for (const [contender, running] of all) {
      const { cpuUs, failed } = await stage.load(running, { seconds: stage.quick ? 1 : 4 })
      if (failed > 0) say(`${contender.title}: ${failed} requests failed`)
      add(figures, scheme === 'plain' ? 'plainUs' : 'tlsUs', contender, cpuUs)
    }
  if (scheme === 'plain') await measureLatency(stage, all, figures, rounds)
  for (const [, { program }] of all) await program.stop()
}

async function measureLatency(
  stage: Stage,
  all: readonly (readonly [Contender, Running])[],
  figures: Figures,
  rounds: number,
) {
  const [[, first] = []] = all
  const direct = { ...first!, port: Number(new URL(stage.plain).port) }
  for (let round = 0; round < rounds; round++) {
    const options = { seconds: 1, connections: 1 }
    const { p50Us: base } = await stage.load(direct, options)
    for (const [contender, running] of all)
      add(figures, 'addedUs', contender, (await stage.load(running, options)).p50Us - base)
  }
}

async function measureTransfers(stage: Stage, all: readonly Contender[], figures: Figures, rounds: number) {
  for (let round = 0; round < rounds; round++)
    for (const contender of all) {
      let grown = 0
      for (const direction of ['download', 'upload'] as const) {
        const running = await stage.launch(contender.launch, stage.plain)
        const before = running.program.memoryMb('VmRSS')
        const ms = await stage.transfer(running, direction, LARGE_BYTES)
        add(
          figures,
          direction === 'download' ? 'downMbs' : 'upMbs',
          contender,
          LARGE_BYTES / 2 ** 20 / (ms / 1000),
        )
        grown = Math.max(grown, running.program.memoryMb('VmHWM') - before)
        await running.program.stop()
      }
      add(figures, 'grownMb', contender, grown)
    }
}

/** Twenty calls of the API through the built program, counted by Fastify's and undici's own channels. */
async function callsSeen(stage: Stage): Promise<string> {
  const file = join(stage.folder, 'channels.json')
  const running = await stage.launch((setting) => {
    const { command } = launchProgram(setting)
    const hook = ['--import', join(import.meta.dirname, 'channels.mjs')]
    return { command: [command[0]!, ...hook, ...command.slice(1)], env: { BENCH_CHANNELS: file } }
  }, stage.plain)
  // The first call is the one that `launch` waits for.
  for (let count = 1; count < 20; count++) await stage.transfer(running, 'download', 1000)
  await running.program.stop()
  const { fastify, undici } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>
  return `Of 20 calls of the API, Fastify's handler saw ${fastify} and undici ${undici}.`
}

function codeLines(): string[] {
  return ['src', 'test', 'bench'].map((folder) => {
    const list = execFileSync('git', ['ls-files', folder], { cwd: ROOT, encoding: 'utf8' })
    const files = list.split('\n').filter((file) => /\.(?:ts|mjs|js|css|html)$/.test(file))
    const lines = files.reduce(
      (sum, file) => sum + readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1,
      0,
    )
    return `${folder}: ${lines} lines in ${files.length} files.`
  })
}

/** Rows of figures: the value of procore-proxy, then its ratio to each of the others. */
function figuresTable(contenders: readonly Contender[], figures: Figures): string {
  const [own, ...others] = contenders.map(({ title }) => title)
  const head = ['', own!, ...others.map((other) => `to ${other}`), `(${BASE})`]
  const rows = (Object.keys(KINDS) as Kind[]).map((kind) => {
    const of = (title: string) => figures[kind][title] ?? []
    const ratios = others.map((other) => shown(ratio(of(own!), of(other))))
    return [KINDS[kind], shown(median(of(own!))), ...ratios, shown(median(of(BASE)))]
  })
  return table([head, ...rows])
}
