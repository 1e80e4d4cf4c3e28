// What `token` does: one token request, and its token on stdout; whatever went wrong is told on stderr.

import type { IssuedToken } from '../auth/request-token.ts'
import { LoginAsker } from '../server/login-asker.ts'
import { checkAccount, chosen } from './check-run.ts'
import { readConfig } from './config-options.ts'
import { CommandError, EXIT } from './exit.ts'
import type { TokenOptions } from './token.ts'

export async function token(name: string, options: TokenOptions): Promise<void> {
  if (process.stdout.isTTY && !options.show) {
    const message =
      'a token on a terminal stays there to be read: pass it on with a pipe or $(…), or say --show'
    throw new CommandError(message, EXIT.badConfig)
  }
  const config = await readConfig(options)
  const account = chosen(config, [name])[0]!.account
  const tokens = new Map<string, IssuedToken>()
  const connections = new LoginAsker(config)
  try {
    const { detail, mends } = await checkAccount(account, connections.ask, tokens)
    const issued = tokens.get(account.key)
    if (issued === undefined) {
      const list = mends.map((mend) => `\n  - ${mend}`).join('')
      throw new CommandError(`no token for ${name}: ${detail}; what to do:${list}`)
    }
    process.stdout.write(`${issued.value}\n`)
  } finally {
    await connections.destroy()
  }
}
