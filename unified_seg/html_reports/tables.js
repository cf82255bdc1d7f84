// Every table of the class "sortable" is sorted by the heading that is pressed, and filtered by a text field.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  const compare = (one, other) => {
    // Cells without a number come last, whatever the direction.
    const numbers = [one, other].map((value) => (value === "" ? NaN : Number(value)));
    if (numbers.every((number) => !Number.isNaN(number))) return numbers[0] - numbers[1];
    return one.localeCompare(other, undefined, { numeric: true });
  };

  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      // Numbers start with the largest, names with the first.
      const first = heading.classList.contains("name") ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const isEmpty = (row) => ["", "–"].includes(valueOf(row, column));
      const rows = [...body.rows];
      const filled = rows.filter((row) => !isEmpty(row));
      filled.sort((a, b) => compare(valueOf(a, column), valueOf(b, column)) * (order === "ascending" ? 1 : -1));
      body.append(...filled, ...rows.filter(isEmpty));
    });
  });

  if (body.rows.length < 8) continue;
  const label = document.createElement("label");
  label.className = "filter";
  const field = document.createElement("input");
  field.type = "search";
  const count = document.createElement("output");
  label.append("Show rows with ", field, " ", count);
  (table.closest(".scroll") ?? table).before(label);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${shown} of ${body.rows.length}` : "";
  });
}
