"""The page of a data set report: its template. What it is filled with is `dataset_report`'s."""

#: A Jinja template, for an environment that escapes. The page has no script and may load nothing.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ verdict }}: {{ surveys | map(attribute="name") | join(", ") }}</title>
<style>
:root { --line: #dfe3e8; --muted: #5d6873; --error: #c0392b; --warning: #b9770e; --good: #1e8449; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.5rem 4rem; background: #fbfbfa; color: #1d2329;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .8rem; padding-bottom: .3rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
code, .file { font: .86em/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.verdict { border-left: .5rem solid; border-radius: .4rem; padding: .9rem 1.2rem; font-size: 1.2rem; font-weight: 600;
           background: #fff; }
.error { border-color: var(--error); color: var(--error); }
.warning { border-color: var(--warning); color: var(--warning); }
.good { border-color: var(--good); color: var(--good); }
table { border-collapse: collapse; width: 100%; background: #fff; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--muted); font-size: .85rem; }
.name { text-align: left; white-space: normal; overflow-wrap: anywhere; }
td.bar { width: 30%; text-align: left; }
.bar span { display: block; height: .7rem; border-radius: .2rem; min-width: 1px; border: 1px solid #0003; }
.swatch { display: inline-block; width: .9rem; height: .9rem; border-radius: .2rem; border: 1px solid #0003;
          vertical-align: -.1rem; margin-right: .5rem; }
tr.empty td { color: var(--muted); background: #f6f4ef; }
details { margin: .7rem 0; border: 1px solid var(--line); border-radius: .4rem; background: #fff; }
summary { cursor: pointer; padding: .6rem 1rem; font-weight: 600; }
.count { display: inline-block; min-width: 2.2rem; padding: 0 .5rem; margin-right: .6rem; border-radius: 1rem;
         color: #fff; text-align: center; font-size: .85rem; }
.count.error { background: var(--error); }
.count.warning { background: var(--warning); }
.inside { padding: 0 1rem .8rem; }
.inside ol { padding-left: 2.2rem; margin: .5rem 0; }
figure { margin: 1rem 0; }
figure img, .plots img { max-width: 100%; height: auto; border-radius: .3rem; display: block; }
figure img { max-height: 36rem; width: auto; }
figcaption { color: var(--muted); margin-top: .3rem; }
.plots { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 1rem; }
.plots figure { margin: 0; padding: .8rem; background: #fff; border: 1px solid var(--line); border-radius: .4rem; }
.plots figure.wide { grid-column: span 3; }
</style>
</head>
<body>
<h1>Data set report</h1>
<p class="verdict {{ severity }}">{{ verdict }}</p>

<table>
<tr><th class="name">data set</th><th>images</th><th>classes seen</th><th>instances</th><th>errors</th>
<th>warnings</th></tr>
{% for survey in surveys %}
<tr><td class="name"><a href="#set-{{ loop.index }}">{{ survey.name }}</a></td>
<td>{{ survey.records | length | number }}</td>
<td>{{ survey.statistics.classes | selectattr("images") | list | length }}
 of {{ survey.statistics.classes | length }}</td>
<td>{{ survey.statistics.instance_sizes | length | number }}</td>
<td{% if survey.num_errors %} class="error"{% endif %}>{{ survey.num_errors | number }}</td>
<td{% if survey.num_warnings %} class="warning"{% endif %}>{{ survey.num_warnings | number }}</td></tr>
{% endfor %}
</table>

{% if groups %}
<h2>Problems</h2>
{% for group in groups %}
<details{% if group.severity == "error" %} open{% endif %}>
<summary><span class="count {{ group.severity }}">{{ group.problems | length | number }}</span>{{ group.title }}
 <code class="muted">{{ group.kind }}</code></summary>
<div class="inside">
<p class="muted">To fix: {{ group.fix }}.</p>
<ol>
{% for problem in group.problems[:listed] %}
<li><span class="file">{{ problem.file }}</span>{% if problem.record %}, {{ problem.record }}{% endif %}:
 {{ problem.cause }}</li>
{% endfor %}
</ol>
{% if group.problems | length > listed %}
<p class="muted">and {{ (group.problems | length - listed) | number }} more, in problems.json</p>
{% endif %}
{% for picture in group.pictures %}
<figure><img src="{{ picture.source }}" alt="{{ picture.caption }}">
<figcaption class="file">{{ picture.caption }}</figcaption></figure>
{% endfor %}
</div>
</details>
{% endfor %}
{% endif %}

{% for survey in surveys %}
{% set content = contents[loop.index0] %}
<h2 id="set-{{ loop.index }}">{{ survey.name }}</h2>
<table>
<tr><th class="name">class</th><th>% of pixels</th><th></th><th>pixels</th><th>images</th><th>instances</th>
<th>crowds</th></tr>
{% for row in content.rows %}
<tr{% if row.cls.is_empty %} class="empty"{% endif %}>
<td class="name"><span class="swatch" style="background: rgb{{ row.cls.color }}"></span>{{ row.cls.name }}</td>
<td>{{ row.percent }}</td>
<td class="bar"><span style="width: {{ row.bar }}%; background: rgb{{ row.cls.color }}"></span></td>
<td>{{ row.cls.pixels | number }}</td><td>{{ row.cls.images | number }}</td>
<td>{{ row.cls.instances | number }}</td><td>{{ row.cls.crowds | number }}</td></tr>
{% endfor %}
</table>
{% if content.plots %}
<h3>How it is spread</h3>
<div class="plots">
{% for plot in content.plots %}
<figure{% if loop.first %} class="wide"{% endif %}><img src="{{ plot.source }}" alt="{{ plot.caption }}">
<figcaption>{{ plot.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
{% if content.pictures %}
<h3>Some images without a problem</h3>
{% for picture in content.pictures %}
<figure><img src="{{ picture.source }}" alt="{{ picture.caption }}">
<figcaption class="file">{{ picture.caption }}</figcaption></figure>
{% endfor %}
{% endif %}
{% endfor %}
</body>
</html>
"""
