// The command `completion`: prints the script for a shell (scripts/completions.ts makes them), or the names of companies for it.
import { ownFile } from '../observe/own-files.ts'
import { type Options, SHELLS } from './commands.ts'
import { readConfig } from './config.ts'
import { usageError } from './exit.ts'

export async function completion(shell: string | undefined, options: Options): Promise<void> {
  if (options.companies)
    process.stdout.write((await companyNames(options)).map((name) => `${name}\n`).join(''))
  else if (shell === undefined) throw usageError(`name a shell: ${SHELLS.join(', ')}`)
  else process.stdout.write(ownFile(`completions/procore-proxy.${shell}`))
}

/** The companies of the configuration; none if it cannot be read, because completion must not print errors. */
async function companyNames({ config: file }: Options): Promise<string[]> {
  const config = await readConfig({ config: file }, { resolveSecrets: false }).catch(() => undefined)
  return (config?.companies ?? []).map(({ name }) => name)
}
