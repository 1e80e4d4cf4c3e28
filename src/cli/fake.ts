// The command `fake`, which the help does not list: the fake Procore alone, to try a deployment without an account.
import closeWithGrace from 'close-with-grace'
import { DEMO_COMPANIES, startFakeProcore } from '../fake/procore.ts'
import { CommandError } from './exit.ts'
import type { Options } from './options.ts'

export async function fake({ loginPort = 0, apiPort = 0 }: Options): Promise<void> {
  const running = await startFakeProcore({ loginPort, apiPort }).catch((error: Error) => {
    throw new CommandError(`the fake Procore cannot start: ${error.message}`)
  })
  closeWithGrace({ skip: ['SIGHUP', 'beforeExit'] }, () => running.close())
  process.stdout.write(`A fake Procore, for a proxy with

  PROCORE_LOGIN_URL=${running.loginUrl}
  PROCORE_API_URL=${running.apiUrl}
  PROCORE_CLIENT_ID=demo-client
  PROCORE_CLIENT_SECRET=demo-secret
  PROCORE_COMPANY_ID=${DEMO_COMPANIES[0]?.id}
`)
}
