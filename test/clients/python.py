# What a Python script does with the proxy; with requests where it is installed, else with the standard library alone.
import json
import re
import sys
import urllib.error
import urllib.request

base = sys.argv[1]

try:
    import requests
except ImportError:
    requests = None


def call(method, url, **options):
    """Status, headers and JSON of an answer."""
    if requests is not None:
        answer = session.request(method, url, timeout=20, **options)
        return answer.status_code, answer.headers, answer.json() if answer.content else None
    data, headers = None, {}
    if "json" in options:
        data, headers = json.dumps(options["json"]).encode(), {"Content-Type": "application/json"}
    elif "files" in options:
        (field, (name, content, kind)), = options["files"].items()
        data = (f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
                f"Content-Type: {kind}\r\n\r\n").encode() + content + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        answer = opener.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read()
    return answer.status, answer.headers, json.loads(text) if text else None


if requests is not None:
    session = requests.Session()
    session.trust_env = False
else:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

projects, url = [], f"{base}/rest/v1.0/projects?per_page=20"
while url:
    status, headers, page = call("GET", url)
    assert status == 200, status
    projects += page
    links = dict((rel, link) for link, rel in re.findall(r'<([^>]+)>; rel="(\w+)"', headers["Link"]))
    url = links.get("next")
    assert url is None or url.startswith(base), url

status, headers, made = call("POST", f"{base}/rest/v1.0/projects", json={"project": {"name": "Dépôt"}})
assert (status, made["name"]) == (201, "Dépôt"), made
where = headers["Location"]
assert call("PATCH", where, json={"project": {"name": "Depot"}})[2]["name"] == "Depot"
assert call("DELETE", where)[0] == 204
assert call("GET", where)[0] == 404

content = b"x" * 300_000
status, _, received = call("POST", f"{base}/rest/v1.0/files", files={"upload[data]": ("plan.pdf", content, "application/pdf")})
assert status == 201 and received["bytes"] > len(content), received

status, headers, problem = call("GET", f"{base}/nothing")
assert (status, headers["Procore-Proxy-Error"], problem["code"]) == (404, "route_unknown", "route_unknown")

print(json.dumps({"by": "requests" if requests else "urllib", "projects": len(projects)}))
