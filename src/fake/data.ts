// The companies of the fake with their projects and RFIs.

/** A company of the fake. */
export interface FakeCompany {
  /** Decimal digits, of any length. */
  readonly id: string
  readonly name: string
  /** False: no app is connected to it, so every call in it is a 403. Default true. */
  readonly connected?: boolean
  /** How many projects it starts with; default 45, which is several pages. */
  readonly projects?: number
  /** How many RFIs each of its projects has; default 3. They are created when they are requested. */
  readonly rfis?: number
}

/** A project; ids are decimal strings inside the fake. */
export interface Project {
  readonly id: string
  name: string
  readonly number: string
  readonly city: string
  active: boolean
  readonly createdAt: string
}

const PLACES = ['Riverside', 'Harbour', 'Northgate', 'Elm Street', 'Summit', 'Lakeview', 'Foundry']
const KINDS = 'Hospital,School,Office Tower,Parking Deck,Data Center,Bridge,Library,Depot'.split(',')
const CITIES = ['Carpinteria, CA', 'Austin, TX', 'Toronto, ON', 'Portland, OR', 'Sheffield']
const PEOPLE = ['Ann Lee', 'Björn Ek', 'Chidi Obi', 'Dolores "Lola" Ruiz']
/** A comma, a line break, and text that a spreadsheet would run as a formula. */
const SUBJECTS = [
  'Door swing, room 12',
  'Beam\nclashes with duct',
  '=SUM of loads at grid C?',
  'Paint for the lobby',
]

/** A company with its projects by id, in order of creation. */
export type FakeCompanyData = ReturnType<typeof fillCompany>

/** The data of these companies by their ids. */
export function fillCompanies(companies: readonly FakeCompany[]): ReadonlyMap<string, FakeCompanyData> {
  return new Map(companies.map((company, place) => [company.id, fillCompany(company, place)]))
}

/** No two companies share ids if each has another `place`. */
function fillCompany(company: FakeCompany, place: number) {
  // In the new regions, ids of projects and companies are larger than 32 bits.
  const first = company.id.length > 10 ? 562_949_954_000_000n : 1_000_000n
  let nextId = first + BigInt(place) * 1_000_000n + 1n
  const projects = new Map<string, Project>()
  const addProject = (name: string): Project => {
    const id = String(nextId++)
    const city = CITIES[projects.size % CITIES.length]!
    const createdAt = new Date().toISOString()
    const project = { id, name, number: `P-${id.slice(-4)}`, city, active: true, createdAt }
    projects.set(id, project)
    return project
  }
  for (let index = place; index < place + (company.projects ?? 45); index += 1) {
    addProject(`${PLACES[index % PLACES.length]} ${KINDS[index % KINDS.length]}`)
  }
  return { company, projects, addProject }
}

/** A project as the API shows it. */
export function projectV1(project: Project, company: FakeCompany): object {
  return {
    id: JSON.rawJSON(project.id),
    name: project.name,
    display_name: `${project.number} - ${project.name}`,
    project_number: project.number,
    city: project.city,
    active: project.active,
    company: { id: JSON.rawJSON(company.id), name: company.name },
    created_at: project.createdAt,
  }
}

/** An RFI of a project. In the new regions its id is beyond 2^53. */
export function rfi(project: Project, index: number): object {
  const id = BigInt(project.id) * 1_000_000n + 1n + BigInt(index)
  return {
    id: JSON.rawJSON(String(id)),
    number: String(index + 1),
    subject: SUBJECTS[index % SUBJECTS.length],
    status: index % 3 === 0 ? 'closed' : 'open',
    assignee:
      index % 5 === 4 ? null : { id: 100 + (index % PEOPLE.length), name: PEOPLE[index % PEOPLE.length] },
    cost_impact: { status: 'yes_known', value: JSON.rawJSON(`${index % 7 === 0 ? '-' : ''}${index}.50`) },
    questions: [{ id: index, body: 'Which one is right?' }],
    private: false,
    created_at: project.createdAt,
  }
}
