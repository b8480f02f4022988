// Removing a row that was just added: unfold renumbers the rows below it by rewriting their HTML, which throws away what was
// typed there. Here the row is hidden instead and marked as deleted, so no other row is touched.
"use strict";
document.addEventListener(
  "click",
  function (event) {
    const button = event.target.closest("#credit_set-group .delete-template");
    if (!button) {
      return;
    }
    event.stopImmediatePropagation();
    const row = button.closest(".form-group");
    const field = row.querySelector("[name$='-role']");
    const mark = document.createElement("input");
    mark.type = "hidden";
    mark.name = field.name.replace(/-role$/, "-DELETE");
    mark.value = "on";
    row.querySelector("td").appendChild(mark);
    row.style.display = "none";
  },
  true,
);
