"""What the audit page says, for a reader who is no programmer."""

DONE = (
    "Every file was opened, and only the moving two-dimensional ultrasound picture was taken "
    "out of it. Names, numbers, dates, comments and everything else in the file stayed behind: "
    "what may leave is on a list, and what is not on the list does not leave.",
    "Every pixel outside the ultrasound sector was made black: names, dates, logos, menus and "
    "the ECG trace stand there. Where the sector could not be found with certainty, the whole "
    "file was refused.",
    "Patients, examinations and clips have new names, such as p1f0c... They are computed with "
    "a secret key that lies outside this folder; without the key nobody can compute them from "
    "a patient's number, nor a patient's number from them.",
    "Labels, such as the ejection fraction, come from named columns only. Ages above 89 are "
    "written as 89. Texts must be classes, never free text.",
    "Names of files and folders appear nowhere: they often name patients.",
)
DATES_DROPPED = "Dates and times of day were removed."
DATES_MOVED = (
    "Dates were moved back by a secret number of days, one to ten years, the same for all "
    "dates of a patient, so that the time between two examinations stays true. Times of day "
    "were removed."
)
COPIES_TOO = (
    "De-identified DICOM copies were written as well (folder dicom), after the Basic "
    "Application Level Confidentiality Profile of DICOM PS3.15 with the options named in each "
    "file."
)
CANNOT_PROVE = (
    "That no text is burned into the scan itself. Programs find most of it, not all: published "
    "rule-based pipelines for ultrasound removed it by themselves in about nine files of ten "
    "(Journal of Medical Systems 2017; American Journal of Roentgenology, "
    "doi 10.2214/AJR.13.11789), and ten teams of the MIDI-B challenge made between 97.91 and "
    "99.93 % of the required changes (arXiv 2508.01889). This is why a person looks.",
    "That a picture of a heart cannot be recognised by someone who has the original.",
    "That rare labels together do not single out a patient. Leave out columns that the study "
    "does not need.",
)
HOW_TO_LOOK = (
    "Each clip is shown three times: its first frame, the brightest value of each pixel over "
    "the whole loop, and its last frame. Text that appears at any time shows in the middle.",
    "Look for letters, digits, dates and logos inside the sector. Depth marks and needle "
    "guides are harmless.",
    "Look at all clips of the sample below, and at as many more as your rules ask for. If "
    "none of 50 shows a text, fewer than 6 in 100 of all do, with 95 % confidence; none of 300 "
    "means fewer than 1 in 100.",
    "If a clip shows who the patient is, do not share the folder: leave that file out and make "
    "the set again.",
)
SIGN = (
    "Name",
    "Function",
    "Date",
    "Number of clips looked at",
    "Number with readable text",
    "Signature",
)
