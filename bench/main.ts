// The command line of the benchmark: `npm run bench -- compare`.
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { compare } from './compare.ts'
import { growth } from './growth.ts'
import { allowedCores, pin, ROOT } from './programs.ts'
import { soak } from './soak.ts'
import { type Stage, startStage } from './stage.ts'

const USAGE = `usage: npm run bench -- [compare|growth|soak] [--quick]

  compare   (default) procore-proxy beside other proxies, as ratios measured in one run
  growth    CPU and memory with more connections, companies and larger bodies
  soak      ten minutes of mixed load: what stays open and how memory develops

  --quick   a short run with rough figures: 90 seconds at most`

const COMMANDS: Record<string, (stage: Stage) => Promise<string>> = { compare, growth, soak }

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  })
  const run = COMMANDS[positionals[0] ?? 'compare']
  if (values.help || run === undefined || positionals.length > 1) {
    console.log(USAGE)
    process.exit(values.help ? 0 : 2)
  }
  console.error('Building dist…')
  execFileSync(process.execPath, ['scripts/build.ts'], { cwd: ROOT, stdio: ['ignore', 2, 2] })
  const [contender = 0, load = contender] = allowedCores()
  // This process reads the log of the proxy, which must not take time from the measured core.
  pin(load)
  const stage = await startStage({ quick: values.quick, cores: { contender, load } })
  try {
    console.log(await run(stage))
  } finally {
    await stage.stop()
  }
}

await main().catch((error: Error) => {
  console.error(error.message)
  process.exitCode = 1
})
process.exit()
