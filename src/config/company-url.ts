// Reads the id of a company from an address of Procore's web application, as the browser shows it.

/**
 * Reads `7656`, `https://app.procore.com/7656/company/home/list` or
 * `https://app.procore.com/webclients/host/companies/7656/…`; the scheme may be left out.
 */
export function readCompanyId(
  input: string,
): { readonly id: string } | { readonly problem: 'project' | 'unknown' } {
  const text = input.trim()
  if (/^\d{1,20}$/.test(text)) return { id: text }
  const url = URL.parse(/^[\w.-]+\.\w+\//.test(text) ? `https://${text}` : text)
  const path = url !== null && /^https?:$/.test(url.protocol) ? url.pathname : ''
  const [, id] =
    /^\/(\d{1,20})\/company(?:\/|$)/.exec(path) ?? /\/companies\/(\d{1,20})(?:\/|$)/.exec(path) ?? []
  if (id !== undefined) return { id }
  return { problem: /^\/\d+\/project(?:\/|$)/.test(path) ? 'project' : 'unknown' }
}
