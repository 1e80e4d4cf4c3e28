// Reads the client secret of a token request (RFC 6749 section 2.3.1) in each form that SDKs use.
import { credentialsIn } from './keys.ts'

/** A token request, its body as text. */
export interface LoginRequest {
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly body: string
}

/**
 * Everything that may be the client secret: `client_secret` of a form or JSON body, and the password of Basic, which the
 * RFC wants form-encoded and many clients do not encode. Empty if there is none.
 */
export function loginSecrets({
  contentType = '',
  authorization = '',
  body,
}: LoginRequest): readonly string[] {
  const inBody = /json/i.test(contentType)
    ? secretInJson(body)
    : new URLSearchParams(body).getAll('client_secret')
  const basic = /^\s*basic\s/i.test(authorization) ? credentialsIn(authorization) : []
  const secrets = [
    ...inBody,
    ...basic,
    ...basic.flatMap((text) => new URLSearchParams(`s=${text}`).getAll('s')),
  ]
  return [...new Set(secrets)].filter((secret) => secret !== '')
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
