// The command `token`: makes one token request and prints only the token.
import { askProcore, checkAccount } from './check.ts'
import { companyNamed, readConfig } from './config.ts'
import { CommandError, usageError } from './exit.ts'
import type { Options } from './options.ts'

export async function token(name: string, options: Options): Promise<void> {
  if (process.stdout.isTTY && !options.show) {
    throw usageError(
      'a token that is printed on a terminal stays readable there: use a pipe or $(…), or add --show',
    )
  }
  const config = await readConfig(options)
  const { account } = companyNamed(config, name)
  const { finding, token } = await askProcore(config, (ask) => checkAccount(account, ask))
  if (token === undefined) {
    const list = finding.fixes.map((fix) => `\n  - ${fix}`).join('')
    throw new CommandError(`no token for ${name}: ${finding.detail}; what to do:${list}`)
  }
  process.stdout.write(`${token.value}\n`)
}
