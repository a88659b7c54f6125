# Otolith for the CPU: docker build --tag otolith . ; docker run --rm --volume "$PWD:/work" otolith label monday.csv --placement pocket
FROM python:3.11-slim
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# The build of torch for the CPU first: it saves 4 GB.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint constraints.txt --index-url "$TORCH_INDEX" torch \
 && pip install --no-cache-dir --constraint constraints.txt '.[demo,tables,devices,export]' \
 && rm -rf /source
RUN useradd --create-home otolith
USER otolith
WORKDIR /work
ENTRYPOINT ["otolith"]
CMD ["--help"]
