// The fake's file host: links that need the token, and presigned ones that refuse it, as S3 does.
import { createHmac, randomBytes } from 'node:crypto'
import { type Answer, type Faults, json, play } from './answer.ts'
import type { Exchange, Handler } from './listener.ts'
import type { Tokens } from './login.ts'

const KEY = randomBytes(32)
const FILE = /^\/(presigned|fas\/api\/v5\/files|api\/v5\/files)\/([\w.-]+)$/

function signature(file: string): string {
  return createHmac('sha256', KEY).update(file).digest('hex')
}

/** Redirects to a link below the file host that serves the file without a bearer. */
export function redirectToFile(storageOrigin: string, file: string): Answer {
  const Location = `${storageOrigin}/presigned/${file}?expires=3600&sig=${signature(file)}`
  return { status: 302, headers: { Location }, body: '' }
}

type Deps = { readonly tokens: Tokens; readonly faults: Faults; readonly storageOrigin: () => string }

/**
 * Answers `/presigned/FILE?sig=` (no bearer), `/fas/api/v5/files/FILE` (bearer, gives the file) and
 * `/api/v5/files/FILE` (bearer, redirects to the presigned link).
 */
export function createStorage(deps: Deps): Handler {
  return async (exchange) => {
    const { entry } = exchange
    const fault = deps.faults.next(deps.faults.storage, entry.method, entry.url) ?? {}
    await play(exchange, fault, { Server: 'AmazonS3' }, async () => fileAnswer(exchange, deps))
  }
}

function fileAnswer({ entry, path, query }: Exchange, { tokens, storageOrigin }: Deps): Answer {
  const [, kind, file] = FILE.exec(path) ?? []
  const { authorization } = entry.headers
  if (file === undefined || !['GET', 'HEAD'].includes(entry.method)) {
    return s3Error(404, 'NoSuchKey', 'The specified key does not exist.')
  }
  const pdf = { status: 200, headers: { 'Content-Type': 'application/pdf' }, body: `%PDF-1.7 fake ${file}\n` }
  if (kind === 'presigned') {
    if (authorization !== undefined) return s3Error(400, 'InvalidArgument', 'Only one auth mechanism allowed')
    if (query.get('sig') === signature(file)) return pdf
    return s3Error(403, 'SignatureDoesNotMatch', 'The request signature does not match.')
  }
  const token = tokens.sentIn(entry)
  if (token === undefined || !tokens.isAlive(token)) return json(401, { message: 'Unauthorized' })
  return kind?.startsWith('fas/') ? pdf : redirectToFile(storageOrigin(), file)
}

function s3Error(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  return { status, headers: { 'Content-Type': 'application/xml' }, body }
}
