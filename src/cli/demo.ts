// `demo`: the whole thing at work, against the built-in fake Procore.
import type { Command } from 'commander'

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'start a fake Procore and the proxy in front of it, make some calls and show them; no account needed',
    )
    .option('--once', 'end after the calls')
    .option('-l, --listen <address>', 'address of the proxy (default: 127.0.0.1:8377, or a free port)')
    .action(async (options: { once?: boolean; listen?: string }) => {
      const { demo } = await import('./demo-run.ts')
      await demo(options)
    })
}
