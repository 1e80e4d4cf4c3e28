// `growth`: CPU and memory of procore-proxy with more connections, companies and larger bodies.
import { ALL_ON, launchProgram, type Settings } from './contenders.ts'
import { shown, table } from './figures.ts'
import type { Running, Stage } from './stage.ts'

const MB = 2 ** 20

export async function growth(stage: Stage): Promise<string> {
  const seconds = stage.quick ? 2 : 5
  const amounts = stage.quick ? [1, 100] : [1, 10, 100, 1_000]
  const rows = [['', 'CPU, µs', 'memory, MB']]
  const add = (title: string, { program }: Running, cpuUs: number) =>
    rows.push([title, shown(cpuUs), shown(program.memoryMb('VmRSS'))])

  const running = await stage.launch((setting) => launchProgram(setting), stage.plain)
  await stage.load(running, { seconds })
  for (const connections of amounts)
    add(`${connections} connections`, running, (await stage.load(running, { seconds, connections })).cpuUs)
  await running.program.stop()

  for (const count of amounts) {
    const ids = Array.from({ length: count }, (_, index) => (index === 0 ? '7656' : String(700_000 + index)))
    const many = await stage.launch((setting) => launchProgram(setting, withCompanies(ids)), stage.plain)
    await stage.load(many, { seconds, companies: ids })
    add(`${count} companies`, many, (await stage.load(many, { seconds, companies: ids })).cpuUs)
    await many.program.stop()
  }

  for (const direction of ['download', 'upload'] as const)
    for (const bytes of stage.quick ? [MB, 256 * MB] : [MB, 64 * MB, 1024 * MB]) {
      const one = await stage.launch((setting) => launchProgram(setting), stage.plain)
      const before = one.program.cpuMs()
      await stage.transfer(one, direction, bytes)
      add(`${direction} of ${bytes / MB} MB`, one, (one.program.cpuMs() - before) * 1000)
      await one.program.stop()
    }
  return table(rows)
}

/** One service account for all of them, as with a developer managed service account. */
function withCompanies(ids: readonly string[]): Settings {
  const companies = ids.map((id, index) => [`company-${index}`, { id, serviceAccount: 'app' }])
  return {
    ...ALL_ON,
    serviceAccounts: { app: { clientId: 'bench-client', clientSecret: 'bench-client-secret' } },
    companies: Object.fromEntries(companies),
  }
}
