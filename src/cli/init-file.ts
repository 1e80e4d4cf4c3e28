// The file that `init` writes: its text, and how it gets to its place whole or not at all.
import { randomBytes } from 'node:crypto'
import { access, constants, link, lstat, mkdir, open, realpath, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SCHEMA_FILE } from '../config/schema.ts'
import { CommandError } from './exit.ts'
import type { Answers } from './init-answers.ts'

/** A commented configuration for one company. */
export function configText({ companyId, environment, clientId, clientSecret }: Answers): string {
  const custom = typeof environment === 'string' ? undefined : environment
  const plain = typeof clientSecret === 'string'
  const source = plain ? quote(clientSecret) : mapOf(clientSecret)
  return `# yaml-language-server: $schema=./${SCHEMA_FILE}
# Written by procore-proxy init; every key there is: procore-proxy schema, or docs/configuration.md.
# ${plain ? 'It holds a secret: keep it readable for its owner alone (chmod 600), and out of version control.' : 'The secret is kept elsewhere.'}
# A running proxy takes changes over by itself. procore-proxy check tries them.

# Tools on this machine call http://127.0.0.1:8377.
listen: 127.0.0.1:8377

# production (On-Demand Sandboxes too), sandbox, monthly-sandbox, federal, or one of your own.
environment: ${custom ? 'custom' : environment}
${custom ? `environments:\n  custom: ${mapOf(custom)}\n` : ''}
companies:
  # The name is yours; it stands in URLs (/main/rest/v1.0/me), logs and metrics.
  main:
    id: ${quote(companyId)}
    # read-only lets GET, HEAD and OPTIONS through and no write; take the # away to have it so.
    # access: read-only
    serviceAccount:
      clientId: ${quote(clientId)}
      # A variable, another file or a program may hold it instead: { env: NAME }, { file: PATH }, { command: [PROGRAM] }
      clientSecret: ${source}
  # Another company goes here, with a name, an id and a serviceAccount of its own; or, for an account that serves
  # several, move it to serviceAccounts: and name it in each.
`
}

/** JSON's strings are YAML's too. */
function quote(text: string): string {
  return JSON.stringify(text)
}

function mapOf(values: object): string {
  const pairs = Object.entries(values).map(([key, value]) => `${key}: ${quote(String(value))}`)
  return `{ ${pairs.join(', ')} }`
}

/** Whether something, be it a dangling link, has this path. */
export async function isThere(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    ({ code }: NodeJS.ErrnoException) => code !== 'ENOENT' && code !== 'ENOTDIR',
  )
}

/** Refuses a place that can't be written to before anything is asked. */
export async function checkFolder(file: string): Promise<void> {
  let folder = dirname(file)
  while (!(await isThere(folder)) && dirname(folder) !== folder) folder = dirname(folder)
  try {
    // With a dot: a file in the place of a folder is an error too.
    await access(`${folder}/.`, constants.W_OK)
  } catch (error) {
    throw cannotWrite(file, error)
  }
}

/**
 * Writes the file with mode 600: under another name first, so that it is there whole or not at all, and what was there
 * before is lost only to a whole one. Without `force`, a file that came up in the meantime is not overwritten.
 */
export async function writeWhole(file: string, text: string, force: boolean): Promise<void> {
  await undisturbed(async () => {
    try {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      // What a link points to is replaced, not the link.
      const target = force ? await realpath(file).catch(() => file) : file
      const draft = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`)
      try {
        await writeDraft(draft, text)
        // Unlike a rename, a link never replaces anything.
        await (force ? rename(draft, target) : link(draft, target))
      } finally {
        await rm(draft, { force: true })
      }
    } catch (error) {
      throw cannotWrite(file, error)
    }
  })
}

async function writeDraft(path: string, text: string): Promise<void> {
  await using handle = await open(path, 'wx', 0o600)
  await handle.writeFile(text)
  await handle.sync()
}

function cannotWrite(file: string, error: unknown): CommandError {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EEXIST')
    return new CommandError(`${file} has come up in the meantime; nothing was overwritten`)
  return new CommandError(
    `${file} can't be written (${code}): look at its folder, or name another with --output FILE`,
  )
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Lets no signal end the process in the middle of a piece of work that takes a few milliseconds. */
export async function undisturbed<T>(work: () => Promise<T>): Promise<T> {
  const hold = () => {}
  for (const signal of SIGNALS) process.on(signal, hold)
  try {
    return await work()
  } finally {
    for (const signal of SIGNALS) process.off(signal, hold)
  }
}
