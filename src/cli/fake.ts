// `fake`, not listed in the help: the built-in fake Procore alone, for trying a deployment without an account.
import closeWithGrace from 'close-with-grace'
import { type Command, InvalidArgumentError } from 'commander'
import { CommandError } from './exit.ts'

interface FakePorts {
  loginPort: number
  apiPort: number
}

export function addFake(program: Command): void {
  program
    .command('fake', { hidden: true })
    .description('start the fake Procore alone, on loopback; point a proxy to it with what it prints')
    .option('--login-port <port>', 'of the login server', port, 9001)
    .option('--api-port <port>', 'of the API', port, 9002)
    .action((ports: FakePorts) => fake(ports))
}

async function fake(ports: FakePorts): Promise<void> {
  const { DEMO_COMPANIES, startFakeProcore } = await import('../fake/procore.ts')
  const running = await startFakeProcore(ports).catch((error: Error) => {
    throw new CommandError(`the fake Procore can't start: ${error.message}`)
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

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(value <= 65_535)) throw new InvalidArgumentError('Write a port: 0 (any free one) to 65535.')
  return value
}
