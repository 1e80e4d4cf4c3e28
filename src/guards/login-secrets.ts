// Reads the client secret of a token request (RFC 6749 section 2.3.1) in each form that SDKs use.
import { credentialsIn } from './callers.ts'

/** A token request, its body as text. */
export interface LoginRequest {
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

/**
 * Everything that may be the client secret: `client_secret` of a form (multipart too) or JSON body, and the password of Basic, which the
 * RFC wants form-encoded and many clients do not encode. Empty if there is none.
 */
export async function loginSecrets({
  contentType = '',
  authorization = '',
  body,
}: LoginRequest): Promise<readonly string[]> {
  const inBody = /json/i.test(contentType) ? secretInJson(body) : await secretsInForm(contentType, body)
  const basic = /^\s*basic\s/i.test(authorization) ? credentialsIn(authorization) : []
  const secrets = [
    ...inBody,
    ...basic,
    ...basic.flatMap((text) => new URLSearchParams(`s=${text}`).getAll('s')),
  ]
  return [...new Set(secrets)].filter((secret) => secret !== '')
}

async function secretsInForm(contentType: string, body: string): Promise<readonly string[]> {
  if (!/^multipart\//i.test(contentType)) return new URLSearchParams(body).getAll('client_secret')
  try {
    const form = await new Response(body, { headers: { 'content-type': contentType } }).formData()
    return form.getAll('client_secret').filter((value) => typeof value === 'string')
  } catch {
    return []
  }
}

function secretInJson(body: string): readonly string[] {
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value !== 'object' || value === null || !('client_secret' in value)) return []
    return typeof value.client_secret === 'string' ? [value.client_secret] : []
  } catch {
    return []
  }
}
