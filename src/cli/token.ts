// The command `token`: makes one token request and prints only the token.
import type { IssuedToken } from '../auth/request-token.ts'
import { checkAccount } from './check.ts'
import { companyNamed, readConfig } from './config.ts'
import { CommandError, usageError } from './exit.ts'
import type { Options } from './options.ts'
import { connectToProcore } from './procore.ts'

export async function token(name: string, options: Options): Promise<void> {
  if (process.stdout.isTTY && !options.show) {
    throw usageError(
      'a token that is printed on a terminal stays readable there: use a pipe or $(…), or add --show',
    )
  }
  const config = await readConfig(options)
  const { account } = companyNamed(config, name)
  const tokens = new Map<string, IssuedToken>()
  const procore = connectToProcore(config)
  try {
    const { detail, fixes } = await checkAccount(account, procore, tokens)
    const issued = tokens.get(account.key)
    if (issued === undefined) {
      const list = fixes.map((fix) => `\n  - ${fix}`).join('')
      throw new CommandError(`no token for ${name}: ${detail}; what to do:${list}`)
    }
    process.stdout.write(`${issued.value}\n`)
  } finally {
    await procore.close()
  }
}
