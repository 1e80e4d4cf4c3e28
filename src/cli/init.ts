// `init`: asks for one company's account and writes a configuration file that its owner alone can read.
import type { Command } from 'commander'

export interface InitOptions {
  readonly output: string
  readonly force?: boolean
  readonly secretEnv?: string
  readonly secretFile?: string
}

export function addInit(program: Command): void {
  program
    .command('init')
    .description('ask for company, client id and secret, check them, and write a configuration file')
    .option('-o, --output <file>', 'the file to write', 'procore-proxy.yaml')
    .option('-f, --force', 'overwrite the file if it is there')
    .option('--secret-env <name>', 'keep the secret out of the file: it is read from this variable')
    .option('--secret-file <file>', 'keep the secret out of the file: it is read from this other file')
    .action(async (options: InitOptions) => {
      // Loaded here: nothing else asks questions.
      const { init } = await import('./init-run.ts')
      await init(options)
    })
}
